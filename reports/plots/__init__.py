"""Plots as data first: a figure is axes and series, drawn as SVG and exported as CSV from the same object."""
