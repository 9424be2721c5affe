import hashlib

import torch

from harness.streams import stream, stream_seed


def test_seed_is_sha256_of_seed_and_purpose():
    digest = hashlib.sha256(b"int:7\x1fstr:augment\x1fint:3").digest()
    assert stream_seed(7, "augment", 3) == int.from_bytes(digest[:8], "big") >> 1


def test_streams_differ_by_every_part_and_repeat():
    parts = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", 1, 0), (0, "a", "1")]
    seeds = [stream_seed(*p) for p in parts]
    assert len(set(seeds)) == len(seeds)
    assert torch.equal(torch.rand(5, generator=stream(*parts[0])), torch.rand(5, generator=stream(*parts[0])))
