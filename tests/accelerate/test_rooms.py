"""Which results a change of this room ages."""

from harness.store.digests import ROOMS, SOURCES


def test_every_file_ages_the_training_of_its_device_and_nothing_else():
    harness = SOURCES / "harness"
    files = {path.relative_to(harness).as_posix() for path in (harness / "accelerate").rglob("*.py")}
    packages = {"accelerate/cpu/__init__.py", "accelerate/cuda/__init__.py"}  # nothing but a docstring
    of_cpu, of_cuda = ({file for file in files if file.startswith(f"accelerate/{d}/")} for d in ("cpu", "cuda"))
    for room, expected in {
        "training on cpu": files - of_cuda - packages,
        "training on cuda": files - of_cpu - packages,
        "evaluation": set(),
        "description": set(),
    }.items():
        assert {file for file in ROOMS[room] if file.startswith("accelerate/")} == expected
        assert [file for file in ROOMS[room] if file.startswith("training/") and not (harness / file).exists()] == []
