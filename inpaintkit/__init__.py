"""inpaintkit: image inpainting, from a single missing pixel to a missing half, on one small package.

Three layers: leaves (runtime, masking), parts (data, metrics, training, viz, models), top (evaluate, effects, course,
widgets, checks). A layer imports only from the layers before it; the notebooks are where they meet.
"""

__version__ = "0.1.0"
