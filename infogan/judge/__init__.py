"""The judge: a small classifier, trained once on the real images, that all samples are judged by.

Its last hidden layer gives the features of FID, KID and the like; its classes tell what a sample
shows. It is kept in the user's cache, as the data is.
"""

from infogan.judge.cache import find_judge
from infogan.judge.training import Judge, JudgedFactor, JudgeRecipe, judged_factor

__all__ = ["Judge", "JudgeRecipe", "JudgedFactor", "find_judge", "judged_factor"]
