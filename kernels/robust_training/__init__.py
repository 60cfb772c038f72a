"""Attacks inside a box: single gradient steps, projected gradient ascent, APGD and a black-box search."""
