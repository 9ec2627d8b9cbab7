"""inpaintkit: image inpainting, from a single missing pixel to a missing half, on one small package.

Start with contracts.py, the nouns; then a paper in papers/; then experiments/run.py, one run of any paper. Imports
point downwards: leaves, parts, papers, experiments, apps. The notebooks are where they meet.
"""

__version__ = "0.2.0"
