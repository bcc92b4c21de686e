"""MLflow's artifacts in Google Cloud Storage, where what is not there is answered with 404.

See artifacts_s3.py.
"""

from google.api_core.exceptions import NotFound
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository


class Artifacts(GCSArtifactRepository):  # type: ignore[misc]  # MLflow is not there to type checkers
    """A bucket, as gs://BUCKET/FOLDER."""

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        try:
            super()._download_file(remote_file_path, local_path)
        except NotFound as error:
            raise MlflowException(
                f"No such artifact: '{remote_file_path}'", error_code=RESOURCE_DOES_NOT_EXIST
            ) from error
