"""Training networks that withstand small perturbations of their inputs, and methods that flatten the loss over weights."""
