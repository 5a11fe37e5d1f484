"""The import job: files of a foreign collection in, image sets out, in one pass.

After a kill it starts over when run again, since a file of records is read front to back. A finished import is not run
again.
"""

from __future__ import annotations

from index.errors import BadInput
from index.files import join, remove
from index.outputs import claim_folder, only_writer, remove_folder
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress
from mining.sets.image_sets import ImageSets
from mining.sets.importers.formats import get_format
from mining.sets.importers.import_config import ImportConfig, job_of, list_files
from mining.sets.importers.import_counts import problem_of
from mining.sets.importers.importing import OWN_FOLDERS, import_sets

__all__ = ["run_import"]

# The file that names the configuration a folder belongs to.
CLAIM = "import.json"


def run_import(config: ImportConfig) -> ImageSets:
    """Import what `config` asks for into `config.out`; the sets of a finished import are opened.

    Raises:
        BadInput: what `mining.sets.importers.importing.import_sets` raises; with `config.strict`, anything that was
            left out or not found (the sets are written nevertheless).
        OutputExists: the folder holds an import of other files or settings, or another process is writing there.
    """
    form = get_format(config.format, config.mapping, config.kind)
    files = list_files(config.files, form.suffixes)
    job = job_of(config, files)
    with only_writer(config.out):
        sets = (
            ImageSets.open(config.out)
            if claim_folder(config.out, CLAIM, job, besides=OWN_FOLDERS)
            else _import(config, len(files))
        )
    if config.strict and (problem := problem_of(sets.manifest["import"])):
        raise BadInput(f"--strict: {problem} (what could be imported is in {config.out})")
    return sets


def _import(config: ImportConfig, files: int) -> ImageSets:
    try:
        with Progress("import", files, unit="files") as progress:
            return import_sets(config, lambda records, done: _show(progress, records, done))
    except Exception:
        # A corrected command, or a mended file, is another configuration, which the claim would refuse.
        for folder in OWN_FOLDERS:
            remove_folder(join(config.out, folder))
        remove(join(config.out, CLAIM))
        raise


def _show(progress: Progress, records: int, files: int) -> None:
    stop_if_interrupted()
    progress.rows = records
    progress.reach(files, progress.items)
