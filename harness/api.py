"""What a plugin imports: the public names of the harness.

Everything else in this package may change with any version; these names stay, and a plugin that uses no
others keeps its code hash when modules of the harness move. ``docs/writing-a-method.md``,
``docs/writing-a-dataset.md``, ``docs/writing-a-metric.md``, ``docs/writing-an-evaluation.md``,
``docs/writing-a-sampler.md``, ``docs/writing-an-engine.md`` and ``docs/writing-a-launcher.md`` show them in use, and
the built-in methods and datasets import nothing else.

A name is loaded when it is asked for first, so that a dataset does not load what only methods need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.core.public_names import PLACES

if TYPE_CHECKING:
    from analysis.contracts import Drawing as Drawing
    from analysis.contracts import Figure as Figure
    from analysis.contracts import ReportData as ReportData
    from analysis.contracts import Rows as Rows
    from analysis.contracts import Table as Table
    from harness.activations.base import PreservingActivation as PreservingActivation
    from harness.activations.base import mean_deviation as mean_deviation
    from harness.activations.bases import Base as Base
    from harness.activations.family import ACTIVATIONS as ACTIVATIONS
    from harness.activations.family import build_activation as build_activation
    from harness.activations.formulas import Execution as Execution
    from harness.activations.formulas import Formula as Formula
    from harness.activations.hinge import H as H
    from harness.activations.laplacian import WithLaplacian as WithLaplacian
    from harness.activations.mixture import M as M
    from harness.activations.placement import SCALES as SCALES
    from harness.activations.placement import SITES as SITES
    from harness.activations.placement import Placed as Placed
    from harness.activations.placement import chosen_sites as chosen_sites
    from harness.activations.placement import measure_scales as measure_scales
    from harness.activations.placement import place as place
    from harness.activations.placement import scales_from_norms as scales_from_norms
    from harness.activations.window import W3 as W3
    from harness.activations.window import W4 as W4
    from harness.activations.window import W5 as W5
    from harness.core.errors import DataError as DataError
    from harness.core.errors import RequestError as RequestError
    from harness.core.errors import suggestion as suggestion
    from harness.core.extras import install as install
    from harness.core.origin import GroupState as GroupState
    from harness.core.origin import is_source as is_source
    from harness.core.plugin_options import Options as Options
    from harness.core.seeds import derive_seed as derive_seed
    from harness.core.zip_checks import DAMAGE as DAMAGE
    from harness.core.zip_checks import is_damage as is_damage
    from harness.core.zip_checks import reason as reason
    from harness.data.dicom import DicomImage as DicomImage
    from harness.data.dicom import Frame as Frame
    from harness.data.dicom import check_installed as check_installed
    from harness.data.dicom import is_dicom as is_dicom
    from harness.data.dicom import volume_fault as volume_fault
    from harness.data.dicom_headers import DICOM_COLUMNS as DICOM_COLUMNS
    from harness.data.dicom_headers import read_facts as read_facts
    from harness.data.image_files import Window as Window
    from harness.data.image_files import WindowedImage as WindowedImage
    from harness.data.npy_stream import NpyStream as NpyStream
    from harness.data.npy_stream import RowImage as RowImage
    from harness.data.npy_stream import array_names as array_names
    from harness.data.table_cells import category as category
    from harness.data.table_cells import quantity as quantity
    from harness.data.tables import TABLE_SUFFIXES as TABLE_SUFFIXES
    from harness.data.tables import CellTable as CellTable
    from harness.data.tables import column_name as column_name
    from harness.data.tables import load_table as load_table
    from harness.data.zip_members import HIDDEN as HIDDEN
    from harness.data.zip_members import IMAGE_SUFFIXES as IMAGE_SUFFIXES
    from harness.data.zip_members import Member as Member
    from harness.data.zip_members import count_left_out as count_left_out
    from harness.data.zip_members import is_hidden as is_hidden
    from harness.data.zip_members import is_image as is_image
    from harness.data.zip_members import left_out as left_out
    from harness.data.zip_members import list_images as list_images
    from harness.data.zip_members import list_members as list_members
    from harness.data.zip_members import read_table as read_table
    from harness.data.zip_members import unshowable as unshowable
    from harness.dataset import MOST_PIXELS as MOST_PIXELS
    from harness.dataset import ArrayImage as ArrayImage
    from harness.dataset import Augmentation as Augmentation
    from harness.dataset import ColumnKind as ColumnKind
    from harness.dataset import Dataset as Dataset
    from harness.dataset import DecodingSource as DecodingSource
    from harness.dataset import Download as Download
    from harness.dataset import FileImage as FileImage
    from harness.dataset import Guess as Guess
    from harness.dataset import ImageSource as ImageSource
    from harness.dataset import KaggleFile as KaggleFile
    from harness.dataset import MetadataColumn as MetadataColumn
    from harness.dataset import MetadataValue as MetadataValue
    from harness.dataset import OfficialSplit as OfficialSplit
    from harness.dataset import Record as Record
    from harness.dataset import RemoteFile as RemoteFile
    from harness.dataset import ZipImage as ZipImage
    from harness.evaluation import Cases as Cases
    from harness.evaluation import Evaluation as Evaluation
    from harness.evaluation import EvaluationFacts as EvaluationFacts
    from harness.evaluation import EvaluationSet as EvaluationSet
    from harness.evaluation import ExternalDataset as ExternalDataset
    from harness.evaluation import Images as Images
    from harness.evaluation import Opened as Opened
    from harness.export.contract import Export as Export
    from harness.export.contract import ExportedRun as ExportedRun
    from harness.export.trials import ExportedTrial as ExportedTrial
    from harness.launch.foreground import ForegroundLauncher as ForegroundLauncher
    from harness.launch.pool import unique_name as unique_name
    from harness.launch.pool import worker_environment as worker_environment
    from harness.launch.worker_command import worker_command as worker_command
    from harness.launcher import Launch as Launch
    from harness.launcher import Launcher as Launcher
    from harness.launcher import Places as Places
    from harness.launcher import Workers as Workers
    from harness.method import Hyperparameters as Hyperparameters
    from harness.method import Method as Method
    from harness.method import NotDefinedError as NotDefinedError
    from harness.method import ParamGroup as ParamGroup
    from harness.method import optimiser_space as optimiser_space
    from harness.method import trainable as trainable
    from harness.metrics.cases import MultiLabelCases as MultiLabelCases
    from harness.metrics.cases import ScoredCases as ScoredCases
    from harness.metrics.metric import Metric as Metric
    from harness.networks.activation_sites import ActivationSite as ActivationSite
    from harness.networks.activation_sites import conv_chains as conv_chains
    from harness.networks.architectures import build_extractor as build_extractor
    from harness.networks.backbones import Model as Model
    from harness.networks.backbones import set_training_mode as set_training_mode
    from harness.networks.sites import ConvSite as ConvSite
    from harness.networks.sites import NormSite as NormSite
    from harness.networks.sites import conv_sites as conv_sites
    from harness.networks.sites import norm_sites as norm_sites
    from harness.networks.stages import stages as stages
    from harness.predict.models import load_model as load_model
    from harness.search.draws import random_configuration as random_configuration
    from harness.search.sampler import Asked as Asked
    from harness.search.sampler import Engine as Engine
    from harness.search.sampler import Sampler as Sampler
    from harness.space.conditions import broken as broken
    from harness.space.conditions import with_defaults as with_defaults
    from harness.space.parameters import Choice as Choice
    from harness.space.parameters import Fixed as Fixed
    from harness.space.parameters import Float as Float
    from harness.space.parameters import Int as Int
    from harness.space.parameters import Parameter as Parameter
    from harness.space.parameters import Space as Space
    from harness.space.parameters import Value as Value
    from harness.space.parameters import defaults as defaults
    from harness.space.parameters import searched as searched
    from harness.spec.search import SearchSpec as SearchSpec
    from harness.spec.sections import LaunchSpec as LaunchSpec
    from harness.train.schedule import schedule_factor as schedule_factor
    from harness.train.step import StepContext as StepContext
    from harness.train.step import set_learning_rates as set_learning_rates
    from harness.work.claims import Proposal as Proposal
    from harness.work.running import run_claimed as run_claimed
    from harness.work.scheduler import Scheduler as Scheduler
    from harness.work.worker import Worker as Worker
    from harness.work.worker import load_studies as load_studies


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(PLACES)
