"""What a written file is: the ordered table."""

import json

import pytest

from mlrepro.capture import outputs
from mlrepro.capture.observation import Observation, Write
from mlrepro.manifest import Role


@pytest.mark.parametrize(
    ("name", "content", "role"),
    [
        ("model.txt", b"tree\nversion=v4\nnum_class=1\n", Role.WEIGHTS),
        ("notes.txt", b"tree and leaf", Role.TEXT),
        ("model.json", b'{"learner":{"attributes":{}}}', Role.WEIGHTS),
        ("config.json", b"{}", Role.TEXT),
        ("m.ubj", b"{L", Role.WEIGHTS),
        ("deep/net.pt", b"\0", Role.WEIGHTS),
        ("m.pkl", b"\x80\x04", Role.WEIGHTS),
        ("empty.pkl", b"", Role.TEXT),
        ("metrics.json", b"{}", Role.METRICS),
        ("metrics_test.json", b"{}", Role.METRICS),
        ("metrics.yaml", b"a: 1", Role.METRICS),
        ("dvclive/metrics.json", b"{}", Role.METRICS),
        ("dvclive/plots/metrics/loss.tsv", b"step\tloss\n", Role.METRICS),
        ("big.csv", b"1,2\n" * 30_000, Role.OTHER),
        ("small.csv", b"1,2\n", Role.TEXT),
        ("umlaut.txt", "ü".encode() * 2000, Role.TEXT),
        ("predictions.npy", b"\x93NUMPY\x01\0", Role.OTHER),
    ],
)
def test_the_first_row_that_fits_decides(tmp_path, name, content, role):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    assert outputs.role(tmp_path, name) is role


def find(root, *writes, **options):
    seen = Observation(writes=tuple(Write(str(root / p), by) for p, by in writes))
    return outputs.find(root, seen, **options)


def test_weights_come_first(tmp_path):
    for name in ("a.txt", "z.pkl"):
        (tmp_path / name).write_text("x")

    found, _spots = find(tmp_path, ("a.txt", "audit"), ("z.pkl", "audit"))

    assert [o.path for o in found] == ["z.pkl", "a.txt"]


def test_what_only_the_scan_saw_is_not_claimed_while_another_run_went_on(tmp_path):
    for name in ("mine.pkl", "whose.pkl"):
        (tmp_path / name).write_text("x")

    found, spots = find(
        tmp_path, ("mine.pkl", "audit+scan"), ("whose.pkl", "scan"), overlapped=True
    )

    assert [o.path for o in found] == ["mine.pkl"]
    assert "whose.pkl" in spots[0]


def test_a_folder_of_checkpoints_is_one_artifact(tmp_path):
    folder = tmp_path / "checkpoint-10"
    folder.mkdir()
    for name in ("model.safetensors", "state.json"):
        (folder / name).write_text(json.dumps({}))

    found, _spots = find(
        tmp_path,
        ("checkpoint-10/model.safetensors", "audit"),
        ("checkpoint-10/state.json", "audit"),
    )

    assert [(o.path, o.role) for o in found] == [("checkpoint-10", Role.WEIGHTS)]


def test_a_write_outside_the_project_is_named_and_not_claimed(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "elsewhere.pkl").write_text("x")

    found, spots = find(root, ("../elsewhere.pkl", "audit"))

    assert found == ()
    assert "elsewhere.pkl" in spots[0]


def test_a_declared_output_is_found_without_being_seen(tmp_path):
    (tmp_path / "hidden.bin").write_bytes(b"\0\1")

    found, _spots = find(tmp_path, declared=["*.bin"])

    assert [o.path for o in found] == ["hidden.bin"]


def test_pointers_and_manifests_are_never_outputs(tmp_path):
    for name in ("m.pkl.dvc", "m.pkl.mlrepro.yaml"):
        (tmp_path / name).write_text("x")

    assert find(tmp_path, ("m.pkl.dvc", "scan"), ("m.pkl.mlrepro.yaml", "scan"))[0] == ()
