"""The documented smart-production functions. The set is open: unknown names are accepted.

Source: the vendor's pages of SubmitIProductionJob and its function-specific parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from listener.jobs import job_params


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: its requirements, a set of JobParams that works, and the contents of its result."""

    about: str
    placeholder: str = (
        ""  #: the placeholder that Output must contain, since the function writes several files
    )
    suffix: str = ""  #: a usual suffix of Output; empty if the function writes no file
    given: job_params.Params  #: example JobParams
    gives: tuple[str, ...] = ()  #: the fields of ``outputs.Outputs`` that its result fills; often none

    @property
    def name(self) -> str:
        return type(self.given).__name__

    @property
    def example(self) -> Mapping[str, Any]:
        """JobParams."""
        return self.given.as_params()


def _functions(*functions: Function) -> Mapping[str, Function]:
    return {function.name: function for function in functions}


FUNCTIONS: Mapping[str, Function] = _functions(
    Function(about="turn a landscape video into a portrait one", suffix=".mp4", given=job_params.VideoH2V()),
    Function(
        about="remove logos from a video",
        suffix=".mp4",
        given=job_params.VideoDelogo(boxes=[(0.8, 0.05, 0.15, 0.1)]),
    ),
    Function(
        about="make cover images for a video",
        placeholder="{sequenceId}",
        suffix=".jpg",
        given=job_params.Cover(),
        gives=("files", "covers"),
    ),
    Function(
        about="make a summary of a video", suffix=".mp4", given=job_params.VideoClip(), gives=("files",)
    ),
    Function(
        about="cut a figure out of an image",
        suffix=".png",
        given=job_params.ImageMatting(),
        gives=("files", "details"),
    ),
    Function(about="turn a landscape image into a portrait one", suffix=".jpg", given=job_params.ImageH2V()),
    Function(about="remove logos from an image", suffix=".jpg", given=job_params.ImageDelogo()),
    Function(
        about="read the captions of a video into a subtitle file",
        suffix=".srt",
        given=job_params.CaptionExtraction(fps=5, track="main"),
        gives=("files",),
    ),
    Function(
        about="remove captions from a video",
        suffix=".mp4",
        given=job_params.VideoDetext(boxes=[(0.1, 0.8, 0.8, 0.15)]),
    ),
    Function(
        about="replace the background of a video",
        suffix=".mp4",
        given=job_params.VideoGreenScreenMatting(
            mode="file", bgimage="oss://example.oss-cn-shanghai.aliyuncs.com/background.jpg"
        ),
        gives=("files",),
    ),
    Function(about="find the chorus of a song", given=job_params.MusicSegmentDetect(), gives=("segments",)),
    Function(
        about="mix two audio streams",
        suffix=".mp3",
        given=job_params.AudioMixing(file="oss://example.oss-cn-shanghai.aliyuncs.com/second.mp3"),
        gives=("files",),
    ),
    Function(about="split a video of slides into clips", given=job_params.VideoSplit(), gives=("splits",)),
    Function(
        about="find the beats of music",
        suffix=".txt",
        given=job_params.AudioBeatDetection(),
        gives=("files",),
    ),
    Function(
        about="recognise speech",
        suffix=".txt",
        given=job_params.ASR(start_time="00:00:00", duration="00:10:00"),
        gives=("files",),
    ),
    Function(
        about="convert text to speech, asynchronously",
        placeholder="{resultType}",
        suffix=".{resultType}",
        given=job_params.AsyncTextToSpeech(voice="xiaoyun", format="wav", sample_rate=16000),
        gives=("files",),
    ),
    Function(
        about="convert text to speech",
        suffix=".wav",
        given=job_params.TextToSpeech(voice="xiaoyun", format="wav", sample_rate=16000),
        gives=("inline",),
    ),
    Function(
        about="turn an image into a cartoon",
        placeholder="{sequenceId}",
        suffix=".jpg",
        given=job_params.ImageCartoonize(),
        gives=("files",),
    ),
    Function(about="assess audio quality", given=job_params.AudioQualityAssessment(), gives=("others",)),
    Function(
        about="beautify faces in a video",
        suffix=".mp4",
        given=job_params.FaceBeauty(beauty_params={"whiten": 20, "smooth": 50, "face_thin": 50}),
    ),
    Function(about="remove noise from speech", suffix=".wav", given=job_params.SpeechDenoise()),
)
