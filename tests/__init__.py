"""Tests, laid out like what they test."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
