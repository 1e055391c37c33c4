"""What can be set of a run: typed config, which the launchpad of the UI describes and checks."""

from typing import Any

import dagster as dg
from pydantic import Field


class SilverConfig(dg.Config):
    """Settings of the silver layer."""

    as_of: str | None = Field(
        default=None,
        description="Day (YYYY-MM-DD) to look from: later orders are left out and later returns have not happened. "
        "Default: CLUSTERING_AS_OF, else the day of the latest order.",
    )


class SegmentationConfig(dg.Config):
    """Parameters of the segmentation; everything that is left out comes from the data."""

    scaling: str = Field(
        default="yeo-johnson",
        description="Scale of the features: yeo-johnson (power transform), robust (median, quartiles) or standard.",
        pattern="^(yeo-johnson|robust|standard)$",
    )
    reduction: str | None = Field(
        default="discriminant",
        description="Space of the clustering: discriminant (of the segments, with soft memberships), pca (principal "
        "components of 90 % of the variance, with plain K-means) or null (all scaled features, with plain K-means).",
        pattern="^(discriminant|pca)$",
    )
    shrinkage: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Shrinkage of the covariance within segments, from 0 (as it is) to 1 (every direction counts the "
        "same). Default: 0.3, 0.7 or 0.9, whichever halves of the customers confirm best.",
    )
    n_clusters: int | None = Field(
        default=None,
        ge=1,
        le=50,
        description="Number of segments. Default: the largest that halves of the customers confirm.",
    )
    min_clusters: int = Field(default=2, ge=1, le=50, description="Smallest number of segments that is tried.")
    max_clusters: int = Field(default=12, ge=2, le=50, description="Largest number of segments that is tried.")
    min_strength: float = Field(
        default=0.62,
        ge=0,
        le=1,
        description="Prediction strength, corrected for chance, that confirms a number of segments; two or three need "
        "0.85 at least.",
    )
    n_splits: int = Field(default=6, ge=1, le=100, description="Splits in halves that confirm a number of segments.")
    n_init: int = Field(default=10, ge=1, le=100, description="Starts of K-means, of which the best is kept.")
    max_fit_rows: int = Field(
        default=50_000,
        ge=100,
        description="Above this many customers a stratified sample is fitted and the others are assigned.",
    )
    min_samples: int = Field(
        default=10, ge=2, description="Customers within eps, the customer included, that make a core customer."
    )
    eps: float | None = Field(
        default=None, gt=0, description="Radius of the density step. Default: the knee of the k-distances."
    )
    min_outlier_share: float = Field(
        default=0.005, ge=0, lt=1, description="Least share of outliers when eps comes from the data."
    )
    max_outlier_share: float = Field(
        default=0.1, ge=0, lt=1, description="Largest share of outliers when eps comes from the data."
    )
    random_state: int = Field(default=0, ge=0, description="Seed; the same seed gives the same segments.")

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of `HybridSegmenter`."""
        return self.model_dump(include=set(SegmentationConfig.model_fields))


class GoldConfig(SegmentationConfig):
    """Settings of the gold layer."""

    map_perplexity: float = Field(default=30.0, gt=1, description="Neighbours that the t-SNE map keeps together.")
    map_landmarks: int = Field(
        default=10_000, ge=100, description="Above this many customers a sample is mapped and the others placed in it."
    )
    stability_resamples: int = Field(
        default=10, ge=0, description="Bootstrap samples that stability is measured on; 0 leaves it out."
    )

    def arguments(self) -> dict[str, Any]:
        """Return the settings of `clustering_assets.gold.Request`."""
        return {
            "parameters": self.parameters(),
            "map_parameters": {"perplexity": self.map_perplexity, "max_landmarks": self.map_landmarks},
            "stability_resamples": self.stability_resamples,
        }


class ApplyConfig(dg.Config):
    """Settings of applying a fitted model."""

    model_run_id: str | None = Field(
        default=None, description="Which of the models in gold.segment_model. Default: the newest."
    )


class ValidationConfig(SegmentationConfig):
    """Settings of the out-of-time validation; the parameters of the segmentation are best those of the gold layer."""

    as_of: str | None = Field(
        default=None,
        description="Latest day (YYYY-MM-DD) to look from. Default: the last one that has horizon_days after it.",
    )
    horizon_days: int = Field(
        default=180, ge=1, le=3_650, description="Days after the day to look from whose behaviour counts."
    )
    history_days: int = Field(
        default=180, ge=1, le=36_500, description="Days of orders that a day to look from needs before it."
    )
    cut_dates: int = Field(default=3, ge=1, le=36, description="Days to look from at most, as far as the orders reach.")
    days_apart: int = Field(default=91, ge=1, le=3_650, description="Days between one day to look from and the next.")
