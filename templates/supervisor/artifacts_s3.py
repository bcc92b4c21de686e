"""MLflow's artifacts in S3, where what is not there is answered with 404.

MLflow's own answers 500. Its client asks for what need not be there, such as a run's folder that
was a model's before MLflow 3, and asks again for two minutes at any 500.
"""

from botocore.exceptions import ClientError
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository


class Artifacts(S3ArtifactRepository):  # type: ignore[misc]  # MLflow is not there to type checkers
    """A bucket, as s3://BUCKET/FOLDER."""

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        try:
            super()._download_file(remote_file_path, local_path)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
            raise MlflowException(
                f"No such artifact: '{remote_file_path}'", error_code=RESOURCE_DOES_NOT_EXIST
            ) from error
