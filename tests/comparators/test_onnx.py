"""ONNX, node by node and tensor by tensor."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlrepro.comparators import compare
from mlrepro.comparators.onnxes import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_RNG = np.random.default_rng(1)
_WEIGHT = _RNG.normal(size=(4, 3)).astype("f4")
_LEAVES = _RNG.normal(size=40).astype("f4")


def _net(weight=_WEIGHT, hidden="h", alpha=0.1, kind="LeakyRelu", **said) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], [hidden], name=f"first_{hidden}"),
        helper.make_node(kind, [hidden], ["y"], **({"alpha": alpha} if alpha else {})),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "w")],
        value_info=[helper.make_tensor_value_info(hidden, TensorProto.FLOAT, ["n", 3])],
    )
    imports = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=imports, producer_name=said.pop("by", "us"))
    for key, value in said.items():
        setattr(model, key, value)
    return model


def _forest(leaves=_LEAVES, **changed) -> onnx.ModelProto:
    count = len(leaves)
    attributes = {
        "nodes_values": leaves.tolist(),
        "nodes_treeids": [i // 10 for i in range(count)],
        "nodes_modes": [b"BRANCH_LEQ"] * count,
        "post_transform": "NONE",
        **changed,
    }
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **attributes
    )
    graph = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)])


def _branch(bias: float, inner: str = "i") -> onnx.ModelProto:
    def side(name, value):
        constant = helper.make_node(
            "Constant", [], [f"{inner}{name}"], value=numpy_helper.from_array(np.array(value, "f4"))
        )
        add = helper.make_node("Add", ["x", f"{inner}{name}"], [f"{inner}o{name}"])
        out = helper.make_tensor_value_info(f"{inner}o{name}", TensorProto.FLOAT, None)
        return helper.make_graph([constant, add], name, [], [out])

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=side("then", bias), else_branch=side("else", 2.0)
    )
    graph = helper.make_graph(
        [node],
        "if",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph)


def _compare(folder: Path, a: onnx.ModelProto, b: onnx.ModelProto, **tolerance) -> Difference:
    (folder / "a.onnx").write_bytes(a.SerializeToString())
    (folder / "b.onnx").write_bytes(b.SerializeToString())
    return compare(
        folder / "a.onnx", folder / "b.onnx", name="model.onnx", tolerance=Tolerance(**tolerance)
    )


def _moved(values, at, by):
    other = values.copy()
    other[at] += by
    return other


@pytest.mark.parametrize(
    ("a", "b", "verdict", "first"),
    [
        (_net(), _net(_WEIGHT * np.float32(1 + 1e-6)), Verdict.CLOSE, "w[0, 0]: "),
        (_net(), _net(_moved(_WEIGHT, (2, 1), 0.5)), Verdict.DRIFTED, "w[2, 1]: "),
        (_net(), _net(_WEIGHT.astype("f8")), Verdict.DRIFTED, "w: type 1 → 11"),
        (_net(), _net(alpha=0.2), Verdict.DRIFTED, "node 1 LeakyRelu, alpha: 0.1"),
        (_net(), _net(kind="Elu"), Verdict.DRIFTED, "node 1: LeakyRelu → Elu"),
        (_net(), _net(alpha=None), Verdict.DRIFTED, "node 1 LeakyRelu, alpha: only recorded"),
        (_forest(), _forest(_LEAVES * np.float32(1 + 1e-6)), Verdict.CLOSE, "node 0 ai.onnx.ml.Tree"),
        (_forest(), _forest(_moved(_LEAVES, 17, 1.0)), Verdict.DRIFTED, "node 0 ai.onnx.ml.TreeEnsembleRegressor, nodes_values[17]: "),
        (_forest(), _forest(nodes_treeids=[0] * 40), Verdict.DRIFTED, "node 0 ai.onnx.ml.TreeEnsembleRegressor, nodes_treeids[10]: 1 → 0"),
        (_forest(), _forest(nodes_modes=[b"LEAF"] + [b"BRANCH_LEQ"] * 39), Verdict.DRIFTED, "node 0 ai.onnx.ml.TreeEnsembleRegressor, nodes_modes: BRANCH_LEQ → LEAF"),
        (_forest(), _forest(post_transform="LOGISTIC"), Verdict.DRIFTED, "node 0 ai.onnx.ml.TreeEnsembleRegressor, post_transform: NONE → LOGISTIC"),
        (_forest(), _forest(_LEAVES[:39]), Verdict.DRIFTED, ""),
        (_branch(1.0), _branch(1.5), Verdict.DRIFTED, "node 0 If, then_branch, node 0 Constant, value[]: 1.0 → 1.5"),
        (_branch(1.0), _branch(1.0, inner="j"), Verdict.EQUIVALENT, ""),
    ],
)  # fmt: skip
def test_two_models_get_the_verdict_a_person_gives(tmp_path, a, b, verdict, first):
    found = _compare(tmp_path, a, b)

    assert found.verdict == verdict, found
    assert found.first.startswith(first)
    assert found.compared > 0
    assert _compare(tmp_path, b, a).verdict == verdict


def test_what_means_nothing_is_named(tmp_path):
    other = _net(hidden="renamed", by="them", model_version=3, doc_string="later")
    other.metadata_props.add(key="author", value="me")

    found = _compare(tmp_path, _net(), other)

    assert found.verdict == Verdict.EQUIVALENT
    assert found.metadata == (
        "producer_name: us → them",
        "model_version:  → 3",
        "doc_string:  → later",
        "metadata_props author: – → me",
        "1 values have other names",
        "1 nodes have other names",
    )


def test_a_value_that_feeds_another_node_is_another_graph(tmp_path):
    other = _net()
    other.graph.node[1].input[0] = "x"

    found = _compare(tmp_path, _net(), other)

    assert found.verdict == Verdict.DRIFTED
    assert found.first == "node 1 LeakyRelu, input 0: h → x"


def test_an_opset_of_another_version_is_another_model(tmp_path):
    other = _net()
    other.opset_import[0].version = 18

    assert _compare(tmp_path, _net(), other).first == "opset ai.onnx: 17 → 18"


def test_a_tensor_is_the_same_in_whichever_field_it_is_stored(tmp_path):
    for values in (
        _WEIGHT, np.arange(-3, 9), np.arange(-3, 9).astype("i1"), _WEIGHT.astype("f2"),
        np.array([2**64 - 1, 5], "u8"), _WEIGHT.astype("f8"), np.array([True, False]),
    ):  # fmt: skip
        raw, typed = _net(values), _net(values)
        code = raw.graph.initializer[0].data_type
        held = {"f2": "u2", "?": "u1"}.get(values.dtype.str[1:].replace("b1", "?"), values.dtype)
        flat = values.view(held).ravel().tolist()
        one = onnx.TensorProto(data_type=code, dims=raw.graph.initializer[0].dims, name="w")
        field = {1: one.float_data, 7: one.int64_data, 11: one.double_data, 13: one.uint64_data}
        field.get(code, one.int32_data).extend(flat)
        typed.graph.initializer[0].CopyFrom(one)
        np.testing.assert_array_equal(
            numpy_helper.to_array(one), numpy_helper.to_array(raw.graph.initializer[0])
        )

        assert _compare(tmp_path, raw, typed).verdict == Verdict.EQUIVALENT, values.dtype
        for model in (raw, typed):
            model.graph.initializer[0].dims[0] += 1
        with pytest.raises(ComparisonError, match="another size"):
            _compare(tmp_path, raw, typed)


def test_a_field_that_nobody_knows_must_be_equal(tmp_path):
    plain = _net().SerializeToString()
    (tmp_path / "a.onnx").write_bytes(plain + b"\xfa\x3f\x01x")
    (tmp_path / "b.onnx").write_bytes(plain + b"\xfa\x3f\x01y")

    found = COMPARATOR.compare(tmp_path / "a.onnx", tmp_path / "b.onnx", Tolerance())

    assert found.verdict == Verdict.DRIFTED
    assert found.first == "the model: a field that is not known here differs"


def _outside(folder: Path, location: str, weight=_WEIGHT) -> Path:
    folder.mkdir(exist_ok=True)
    model = _net(weight)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "48"}.items():
        tensor.external_data.add(key=key, value=value)
    (folder / "weights.bin").write_bytes(weight.tobytes())
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def test_weights_in_a_file_beside_the_model_are_followed(tmp_path):
    a = _outside(tmp_path / "a", "weights.bin")
    b = _outside(tmp_path / "b", "weights.bin", _moved(_WEIGHT, (1, 1), 1.0))

    assert COMPARATOR.compare(a, b, Tolerance()).first.startswith("w[1, 1]: ")


@pytest.mark.parametrize("location", ["../a/weights.bin", "/etc/passwd", "absent.bin", ""])
def test_weights_that_are_not_beside_the_model_are_an_error(tmp_path, location):
    a, b = _outside(tmp_path / "a", "weights.bin"), _outside(tmp_path / "b", location)

    with pytest.raises(ComparisonError, match="not beside it"):
        COMPARATOR.compare(a, b, Tolerance())


def test_a_bomb_of_graphs_is_an_error(tmp_path):
    graph = b""
    for _ in range(3000):  # attribute g of a node of a graph
        for number in (6, 5, 1):
            size, head = len(graph), bytearray()
            while size > 127:
                head.append(size & 127 | 128)
                size >>= 7
            graph = bytes([number << 3 | 2, *head, size]) + graph
    size, head = len(graph), bytearray()
    while size > 127:
        head.append(size & 127 | 128)
        size >>= 7
    (tmp_path / "a.onnx").write_bytes(bytes([7 << 3 | 2, *head, size]) + graph)
    (tmp_path / "b.onnx").write_bytes(_net().SerializeToString())

    with pytest.raises(ComparisonError, match="nested too deeply"):
        COMPARATOR.compare(tmp_path / "b.onnx", tmp_path / "a.onnx", Tolerance())


def _free(model: onnx.ModelProto, data: bytes) -> set[int]:
    """Return the bytes that are documented as metadata: texts, each with its length and tag."""
    free = set()
    for text in (
        b"\x12\x02us",
        b"\x12\x03net",
        b"\x1a\x07first_h",
        b"\x08" + bytes([model.ir_version]),
    ):
        at = data.index(text)
        free.update(range(at, at + len(text)))
    return free


def test_every_flipped_byte_is_seen_or_an_error(tmp_path):
    model = _net()
    data = model.SerializeToString()
    (tmp_path / "a.onnx").write_bytes(data)
    free = _free(model, data)
    seen = set()
    for at in range(len(data)):
        for mask in (1, 64):
            damaged = bytearray(data)
            damaged[at] ^= mask
            (tmp_path / "b.onnx").write_bytes(damaged)
            try:
                found = COMPARATOR.compare(tmp_path / "a.onnx", tmp_path / "b.onnx", Tolerance())
            except ComparisonError:
                continue
            if found.verdict <= Verdict.EQUIVALENT and at not in free:
                seen.add((at, data[max(0, at - 4) : at + 4], found.metadata))
            if found.verdict == Verdict.CLOSE:
                assert found.measures[0].value < 1e-5, at
    assert not seen


@_few
@given(st.data())
def test_any_damage_gives_a_difference_or_a_comparison_error(tmp_path, data):
    model = data.draw(st.sampled_from([_net(), _forest(), _branch(1.0)]))
    damaged = bytearray(model.SerializeToString())
    (tmp_path / "a.onnx").write_bytes(copy.copy(damaged))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(damaged)))
    (tmp_path / "b.onnx").write_bytes(damaged[:cut])
    try:
        COMPARATOR.compare(tmp_path / "a.onnx", tmp_path / "b.onnx", Tolerance())
    except ComparisonError:
        pass
