"""Another input shape for an OpenVINO model that can be reshaped."""

from typing import Any

from stages.core.base.errors import ArtifactError


def reshape_image(model: Any, shape: tuple[int, int, int, int], where: str) -> None:
    """Gives a model with one input another input shape, in place; nothing is done where it has that shape already.

    Args:
      model: An `openvino.Model`.
      shape: Of the input, in the file's layout.
      where: What the message begins with.

    Raises:
      ArtifactError: if its graph is for another shape: a target of a reshape, a table of anchors or the like is stored.
    """
    found = model.inputs[0].get_partial_shape()
    if found.is_static and tuple(found.to_shape()) == shape:
        return
    try:
        model.reshape(list(shape))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        node = next((line for line in lines if line.startswith("While validating node")), lines[0])
        raise ArtifactError(
            f"{where}: a graph for {found} cannot be reshaped to {list(shape)}: what is stored in it fits no other: "
            f"{node[:200]}"
        ) from None
