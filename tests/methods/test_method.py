"""What the trainer lends to a method stays as it is: every view of a step, and a monitor beside it, reads the same."""

from dataclasses import FrozenInstanceError, fields

import pytest
import torch

from methods.method import Batch, Loss, ParameterGroup, Step

GIVEN = (
    Batch((torch.zeros(2, 4, 3, 2, 2),), torch.zeros(4), torch.arange(4)),
    Step(index=0, steps=1, epoch=0, epochs=1, generator=torch.Generator()),
    Loss(torch.zeros(())),
    ParameterGroup(()),
)


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: type(given).__name__)
def test_a_method_cannot_change_what_it_is_given(given):
    for field in fields(given):
        with pytest.raises(FrozenInstanceError):
            setattr(given, field.name, None)
