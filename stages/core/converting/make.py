"""Makes and proves one file, in the process that `convert` starts for it."""

from dataclasses import replace

from stages.core.base.jsonfile import write_json
from stages.core.base.layout import PROOF_FILE
from stages.core.converting.job import ConversionJob, Made
from stages.core.converting.tools import TOOLS
from stages.core.results.brought import read_brought_facts


def make_and_prove(job: ConversionJob) -> Made:
    """Writes the model file and proof.json into the job's folder.

    Raises:
      ArtifactError: for a source or a file that is not what it should be.
      Exception: quantizers and runtimes refuse a graph with whatever exception is at hand.
    """
    tool = TOOLS[job.scheme.backend]()
    made = tool.make(job)
    proof = tool.prove(job.folder / tool.files[0], job.scheme)
    if facts := read_brought_facts(job.exported):
        proof = replace(proof, substitutions=facts.substitutions)
    write_json(proof, job.folder / PROOF_FILE)
    return made
