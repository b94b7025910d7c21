"""The one way to change what Model Garden's task does: a hook that converts its model and acts after each step."""

from typing import Any, Protocol


class TaskHook(Protocol):
    """What a training changes about a task."""

    def convert(self, model: Any) -> Any:
        """Changes a newly built model for the training.

        Called once, in the scope of the strategy; a resume restores its checkpoint into the result afterwards.

        Args:
          model: A Model Garden detector with all its variables.

        Returns:
          The model to train: mostly the same object.
        """
        ...

    def after_step(self, model: Any, optimizer: Any) -> None:
        """Acts after each optimizer step, in the replica's context; traced into the training function."""
        ...


def attach_hook(task: Any, hook: TaskHook) -> Any:
    """The task with a hook on its model and its training step.

    Args:
      task: A Model Garden task of a detector; changed in place.
    """
    # Imported here: refinements are hooks, and stages look at them before they know whether TensorFlow is needed.
    from stages.core.detectors.build import create_variables

    build_model, train_step = task.build_model, task.train_step

    def build_and_convert() -> Any:
        return hook.convert(create_variables(build_model(), task.task_config.model))

    def step_and_act(inputs: Any, model: Any, optimizer: Any, metrics: Any = None) -> Any:
        logs = train_step(inputs, model=model, optimizer=optimizer, metrics=metrics)
        hook.after_step(model, optimizer)
        return logs

    task.build_model, task.train_step = build_and_convert, step_and_act
    return task
