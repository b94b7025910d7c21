"""One class per cause that a user can fix.

A stage turns every `UserError` into one line on stderr and exit status 2; any other exception is a bug and keeps its
traceback (exit status 1). Messages say what was found, where it came from and what is allowed.
"""


class UserError(Exception):
    """Base of everything a user can fix. `str(error)` is one clear line."""


class UsageError(UserError):
    """The command line is wrong."""


class ParamsError(UserError):
    """params.yaml (or an overlay) holds something it must not."""


class DataError(UserError):
    """The labelled images, or what `prepare` made of them, cannot be used."""


class ForeignConfigError(UserError):
    """A file of the TF Object Detection API (`pipeline.config`, label map) is damaged, or asks for what is not here."""


class CheckpointError(UserError):
    """A checkpoint is missing, truncated, or does not fit the model."""


class TrainingError(UserError):
    """Training cannot go on (loss not finite, batch larger than the data, ...)."""


class ArtifactError(UserError):
    """A model file, its interface or its record is missing, damaged or not what it claims to be."""


class MissingResultError(UserError):
    """A stage was asked to run before the one that it builds on."""


class InferenceError(Exception):
    """A runtime refuses a model file, or crashes on it.

    Neither a mistake of the user nor a bug of the project: the row's status becomes `failed`, with this as the reason.
    """
