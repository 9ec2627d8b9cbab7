"""One paper, one file: equation, network, loss, step and readings, top to bottom; and the fills that need no
training.
"""
