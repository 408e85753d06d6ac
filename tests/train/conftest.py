"""Fixtures for the tests of single trainings."""

from fake_cuda import cuda as cuda
