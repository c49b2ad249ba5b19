"""The ensemble's wiring is whole: nothing is read that nobody wrote, nothing of another type."""

import pytest

from perfgate.serving import tensors

pytestmark = pytest.mark.unit


def kinds(listed):
    """Types by tensor name."""
    return {tensor.name: tensor.data_type for tensor in listed}


@pytest.mark.parametrize("step", tensors.STEPS, ids=lambda step: step.model)
def test_a_step_names_tensors_that_exist(step):
    """Both ends of every connection are declared, all required inputs are fed."""
    assert set(step.inputs) <= set(kinds(tensors.INPUTS[step.model]))
    assert set(step.outputs) == set(kinds(tensors.OUTPUTS[step.model]))
    required = {tensor.name for tensor in tensors.INPUTS[step.model] if not tensor.optional}
    assert required <= set(step.inputs)


def test_every_connection_joins_equal_types():
    """From the client through each step to the answer, a tensor keeps its type."""
    flowing = kinds(tensors.INPUTS[tensors.ENSEMBLE])
    for step in tensors.STEPS:
        taken = kinds(tensors.INPUTS[step.model])
        for inner, outer in step.inputs.items():
            assert flowing[outer] == taken[inner], outer
        given = kinds(tensors.OUTPUTS[step.model])
        for inner, outer in step.outputs.items():
            flowing[outer] = given[inner]

    for name, kind in kinds(tensors.OUTPUTS[tensors.ENSEMBLE]).items():
        assert flowing[name] == kind


@pytest.mark.parametrize("table", [tensors.INPUTS, tensors.OUTPUTS], ids=["inputs", "outputs"])
def test_no_tensor_is_declared_twice(table):
    """Triton refuses a model with two tensors of one name."""
    for listed in table.values():
        assert len(kinds(listed)) == len(listed)
