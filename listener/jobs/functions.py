"""The documented smart-production functions. The set is open: unknown names are accepted.

Source: the vendor's pages of SubmitIProductionJob and its function-specific parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from listener.jobs import job_params


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: its requirements, a set of JobParams that works, and the contents of its result."""

    description: str
    #: The placeholder that Output must contain, since the function writes several files.
    placeholder: str = ""
    #: JobParams with which it writes only one file, so that Output needs no placeholder.
    one_file_params: Mapping[str, Any] = field(default_factory=dict)
    suffix: str = ""  #: a usual suffix of Output; empty if the function writes no file
    example_params: job_params.Params  #: example JobParams
    #: The fields of ``outputs.Outputs`` that its result fills; often none.
    output_fields: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return type(self.example_params).__name__

    @property
    def example(self) -> Mapping[str, Any]:
        """JobParams."""
        return self.example_params.as_params()

    @property
    def names_its_files(self) -> bool:
        """Whether the keys of the files that it writes are in its result."""
        return bool(self.output_fields)

    def required_placeholder(self, params: Mapping[str, Any]) -> str:
        """What Output must contain with these JobParams; empty if there is nothing."""
        one_file = any(params.get(name) == value for name, value in self.one_file_params.items())
        return "" if one_file else self.placeholder


def _functions(*functions: Function) -> Mapping[str, Function]:
    return {function.name: function for function in functions}


FUNCTIONS: Mapping[str, Function] = _functions(
    Function(
        description="turn a landscape video into a portrait one",
        suffix=".mp4",
        example_params=job_params.VideoH2V(),
    ),
    Function(
        description="remove logos from a video",
        suffix=".mp4",
        example_params=job_params.VideoDelogo(boxes=[(0.8, 0.05, 0.15, 0.1)]),
    ),
    Function(
        description="make cover images for a video",
        placeholder="{sequenceId}",
        one_file_params={"Model": "gif"},
        suffix=".jpg",
        example_params=job_params.Cover(),
        output_fields=("files", "covers"),
    ),
    Function(
        description="make a summary of a video",
        suffix=".mp4",
        example_params=job_params.VideoClip(),
        output_fields=("files",),
    ),
    Function(
        description="cut a figure out of an image",
        suffix=".png",
        example_params=job_params.ImageMatting(),
        output_fields=("files", "details"),
    ),
    Function(
        description="turn a landscape image into a portrait one",
        suffix=".jpg",
        example_params=job_params.ImageH2V(),
    ),
    Function(
        description="remove logos from an image", suffix=".jpg", example_params=job_params.ImageDelogo()
    ),
    Function(
        description="read the captions of a video into a subtitle file",
        suffix=".srt",
        example_params=job_params.CaptionExtraction(fps=5, track="main"),
        output_fields=("files",),
    ),
    Function(
        description="remove captions from a video",
        suffix=".mp4",
        example_params=job_params.VideoDetext(boxes=[(0.1, 0.8, 0.8, 0.15)]),
    ),
    Function(
        description="replace the background of a video",
        suffix=".mp4",
        example_params=job_params.VideoGreenScreenMatting(
            mode="file", bgimage="oss://example.oss-cn-shanghai.aliyuncs.com/background.jpg"
        ),
        output_fields=("files",),
    ),
    Function(
        description="find the chorus of a song",
        example_params=job_params.MusicSegmentDetect(),
        output_fields=("segments",),
    ),
    Function(
        description="mix two audio streams",
        suffix=".mp3",
        example_params=job_params.AudioMixing(file="oss://example.oss-cn-shanghai.aliyuncs.com/second.mp3"),
        output_fields=("files",),
    ),
    Function(
        description="split a video of slides into clips",
        example_params=job_params.VideoSplit(),
        output_fields=("splits",),
    ),
    Function(
        description="find the beats of music",
        suffix=".txt",
        example_params=job_params.AudioBeatDetection(),
        output_fields=("files",),
    ),
    Function(
        description="recognise speech",
        suffix=".txt",
        example_params=job_params.ASR(start_time="00:00:00", duration="00:10:00"),
        output_fields=("files",),
    ),
    Function(
        description="convert text to speech, asynchronously",
        placeholder="{resultType}",
        suffix=".{resultType}",
        example_params=job_params.AsyncTextToSpeech(voice="xiaoyun", format="wav", sample_rate=16000),
        output_fields=("files",),
    ),
    Function(
        description="convert text to speech",
        suffix=".wav",
        example_params=job_params.TextToSpeech(voice="xiaoyun", format="wav", sample_rate=16000),
        output_fields=("inline",),
    ),
    Function(
        description="turn an image into a cartoon",
        placeholder="{sequenceId}",
        one_file_params={"mode": "gif"},  # as in the vendor's sample request
        suffix=".jpg",
        example_params=job_params.ImageCartoonize(),
        output_fields=("files",),
    ),
    Function(
        description="assess audio quality",
        example_params=job_params.AudioQualityAssessment(),
        output_fields=("others",),
    ),
    Function(
        description="beautify faces in a video",
        suffix=".mp4",
        example_params=job_params.FaceBeauty(beauty_params={"whiten": 20, "smooth": 50, "face_thin": 50}),
    ),
    Function(
        description="remove noise from speech", suffix=".wav", example_params=job_params.SpeechDenoise()
    ),
)
