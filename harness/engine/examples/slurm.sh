#!/bin/bash
# A ladder on a cluster, on a GPU a run, at most 16 at once; nobody waits for it. Give it again: it tells how it stands,
# and when all is trained it ends in the report. HARNESS_RUNS is a folder that all nodes see.
export HARNESS_RUNS=/shared/$USER/runs
exec python -m harness.ablate imagenet_refinements --set data.root=/shared/imagenet --jobs 16 \
    --engine slurm --slurm "partition=gpu gres=gpu:1 cpus-per-task=12 mem=64G time=24:00:00" --submit
