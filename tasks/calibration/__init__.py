"""Post-hoc calibration: a method learns, from labelled logits of a calibration split, to turn a fixed classifier's logits into
probabilities whose confidence matches their accuracy on rows it has never seen.

`protocol` says what a calibrator receives and returns, `digits` is the task, `metrics` the scores, `base_model` the classifier that is
calibrated, `claims` what papers say; every file in `methods` is one calibrator.
"""
