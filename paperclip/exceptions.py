# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Errors and warnings raised by `paperclip`."""

from astropy.utils.exceptions import AstropyUserWarning

__all__ = [
    "ApproximateSearchWarning",
    "CatalogueError",
    "CatalogueWarning",
    "CheckpointError",
    "CheckpointWriteError",
    "DamagedIndexError",
    "DataSetError",
    "DataSetWriteError",
    "ExportError",
    "FailedRowsWarning",
    "FootprintError",
    "ImageConversionError",
    "ImageConversionWarning",
    "IndexExistsError",
    "IndexNotFoundError",
    "IndexRecoveredWarning",
    "IndexWriteError",
    "InvalidQueryError",
    "InvalidRowsError",
    "LanguageWarning",
    "MaxResultsWarning",
    "MissingDependencyError",
    "ModelLoadError",
    "ModelMismatchError",
    "ModelNotFoundError",
    "NameResolutionError",
    "NoResultsWarning",
    "OfflineError",
    "PaperclipError",
    "PaperclipWarning",
    "RemoteServiceError",
    "RemoteServiceWarning",
    "TrainingError",
    "TrainingWarning",
    "TruncatedTextWarning",
    "VocabularyError",
]


class PaperclipError(Exception):
    """Base class, so that one ``except`` clause catches them all."""


class InvalidQueryError(PaperclipError, ValueError):
    """An argument can never be answered; retrying is pointless."""


class FootprintError(PaperclipError, ValueError):
    """The footprint of an observation cannot be read."""


class NameResolutionError(InvalidQueryError):
    """The name of an object stands for no position on the sky."""


class CatalogueError(PaperclipError, ValueError):
    """A file of proposals is not one, or is not safe to read."""


class DataSetError(PaperclipError, ValueError):
    """A folder is no data set, or does not fit what is asked of it."""


class DataSetWriteError(PaperclipError, OSError):
    """A data set cannot be written: a read-only folder, a full disk."""


class CheckpointError(PaperclipError, ValueError):
    """A checkpoint is damaged, or belongs to another run."""


class CheckpointWriteError(PaperclipError, OSError):
    """A checkpoint or a record cannot be written; the last one is intact."""


class TrainingError(PaperclipError, ArithmeticError):
    """
    Training cannot go on: the loss or its gradient is not finite.

    Parameters
    ----------
    message : str
        What happened.
    step : int, optional
        Update in which it happened, from 1.
    keys : sequence of str, optional
        Pairs that caused it, or all pairs of the batch.
    """

    def __init__(self, message, *, step=None, keys=()):
        super().__init__(message)
        self.step = step
        self.keys = list(keys)


class VocabularyError(PaperclipError, ValueError):
    """A list of terms is empty, or holds blank or repeated terms."""


class ImageConversionError(PaperclipError, ValueError):
    """The input holds no picture that can be shown to a model."""


class ModelNotFoundError(PaperclipError, FileNotFoundError):
    """No model of that name or at that place."""


class ModelLoadError(PaperclipError, ValueError):
    """A model directory is incomplete, damaged or not safe to load."""


class ModelMismatchError(PaperclipError, ValueError):
    """An index was built with a different model or preprocessing."""


class IndexNotFoundError(PaperclipError, FileNotFoundError):
    """There is no index at that place."""


class IndexExistsError(PaperclipError, FileExistsError):
    """There is already something at the place of a new index."""


class IndexWriteError(PaperclipError, OSError):
    """An index cannot be written: a read-only folder, a full disk."""


class ExportError(PaperclipError, OSError):
    """A file or folder cannot be written, or is there already."""


class DamagedIndexError(PaperclipError, OSError):
    """An index cannot be read; its files are incomplete or altered."""


class InvalidRowsError(PaperclipError, ValueError):
    """Rows or vectors do not fit the index they are meant for."""


class OfflineError(PaperclipError, FileNotFoundError):
    """A file is needed, is not on disk, and downloads are switched off."""


class MissingDependencyError(PaperclipError, ImportError):
    """An optional dependency is needed for this call."""


class RemoteServiceError(PaperclipError, ConnectionError):
    """
    A remote service failed after all retries.

    Parameters
    ----------
    message : str
        What was attempted and what came back.
    url : str, optional
        The address that failed.
    status : int, optional
        HTTP status code, if a response arrived.
    """

    def __init__(self, message, *, url=None, status=None):
        super().__init__(message)
        self.url = url
        self.status = status


class PaperclipWarning(AstropyUserWarning):
    """Base class of the warnings of this package."""


class NoResultsWarning(PaperclipWarning):
    """The query is valid and nothing answers it."""


class MaxResultsWarning(PaperclipWarning):
    """There are more rows than the limit lets through."""


class RemoteServiceWarning(PaperclipWarning):
    """A remote service had trouble that did not stop the work."""


class CatalogueWarning(PaperclipWarning):
    """Part of a catalogue is damaged; the rest of it was read."""


class TruncatedTextWarning(PaperclipWarning):
    """The text is longer than the model can read; its end was dropped."""


class TrainingWarning(PaperclipWarning):
    """Training goes on, but data or settings make it worse than it could be."""


class LanguageWarning(PaperclipWarning):
    """The text does not look like the language the model was trained on."""


class ImageConversionWarning(PaperclipWarning):
    """A picture was made, but part of the input could not be used."""


class FailedRowsWarning(PaperclipWarning):
    """Some inputs of a batch failed; they stay as masked rows with a status."""


class IndexRecoveredWarning(PaperclipWarning):
    """The newest version of an index was lost; the one before it was opened."""


class ApproximateSearchWarning(PaperclipWarning):
    """An approximate index was made, but searches stay exact where it is no use."""
