# Notebooks run in parallel, one thread each, and train what is lacking; `make report` trains before. On a cluster each
# is a job: see profiles/slurm and book/cluster.md.
from mixnam.report.book import BACK, FRONT, USE, experiment_pages

PRESET = config.get("preset", "quick")
DATASETS = config.get("datasets", "housing")
DEVICE = config.get("device", "auto")
RUN = config.get("run", f"runs/{PRESET}")
EXPERIMENTS = experiment_pages(DATASETS.split(","))
# MB and minutes of a page that trains: more than twice what the reference's models took, one after another on one core
MEMORY = config.get("memory", {"paper": 8000}.get(PRESET, 4000))
MINUTES = config.get("minutes", {"smoke": 30, "paper": 2880}.get(PRESET, 300))
EXECUTE = f"python -m mixnam.report.execute --preset {PRESET} --device {DEVICE} --results {RUN}/results"


def finished(pages):
    return [f"{RUN}/notebooks/{page}.ipynb" for page in pages]


localrules:
    report,


rule report:
    input:
        finished(FRONT + USE + BACK),
    output:
        f"{RUN}/book/_build/html/index.html",
    shell:
        f"python -m mixnam.report.book report --preset {PRESET} --datasets {DATASETS} --run {RUN}"


# the landing page, the scorecard and the status page show what the other pages found
rule summary:
    input:
        finished(EXPERIMENTS),
    output:
        f"{RUN}/notebooks/{{page,{'|'.join(FRONT + USE + BACK)}}}.ipynb",
    threads: 1
    retries: 1
    shell:
        f"{EXECUTE} {{wildcards.page}} {{output}} --dataset housing"


for page, (notebook, dataset) in EXPERIMENTS.items():

    rule:
        name:
            f"page_{page}"
        output:
            f"{RUN}/notebooks/{page}.ipynb",
        params:
            notebook=notebook,
            dataset=dataset,
        threads: 1
        retries: 1
        resources:
            mem_mb=MEMORY,
            runtime=MINUTES,
            gpu=int(DEVICE == "cuda"),
        shell:
            f"{EXECUTE} {{params.notebook}} {{output}} --dataset={{params.dataset}}"
