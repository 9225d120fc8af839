# Notebooks run in parallel, one thread each, and train what they lack; `make report` has trained it before. On a cluster:
#   snakemake --executor slurm --jobs 20 --config preset=paper device=cuda
from mixnam.report.book import BACK, FRONT, experiment_pages

PRESET = config.get("preset", "quick")
DATASETS = config.get("datasets", "housing")
DEVICE = config.get("device", "auto")
RUN = config.get("run", f"runs/{PRESET}")
EXPERIMENTS = list(experiment_pages(DATASETS.split(",")))
SAY = f"--preset {PRESET} --datasets {DATASETS} --device {DEVICE} --run {RUN}"


def finished(pages):
    return [f"{RUN}/notebooks/{page}.ipynb" for page in pages]


localrules:
    report,


rule report:
    input:
        finished(FRONT + BACK),
    output:
        f"{RUN}/book/_build/html/index.html",
    shell:
        f"python -m mixnam.report.book report {SAY}"


# the landing page, the scorecard and the status page show what the other pages found
rule summary:
    input:
        finished(EXPERIMENTS),
    output:
        f"{RUN}/notebooks/{{page,{'|'.join(FRONT + BACK)}}}.ipynb",
    threads: 1
    retries: 1
    shell:
        f"python -m mixnam.report.book page {{wildcards.page}} {SAY}"


for page in EXPERIMENTS:

    rule:
        name:
            f"page_{page}"
        output:
            f"{RUN}/notebooks/{page}.ipynb",
        params:
            page=page,
        threads: 1
        retries: 1
        resources:
            gpu=int(DEVICE == "cuda"),
        shell:
            f"python -m mixnam.report.book page {{params.page}} {SAY}"
