"""Trains a decision tree on made-up houses, and logs and registers it as 'decision-tree'."""

import argparse

import mlflow
import numpy
from mlflow.models import infer_signature
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeRegressor


def main() -> None:
    """Train one tree; which server it is logged to is said by the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tree-depth", type=int, default=3)
    depth = parser.parse_args().tree_depth

    # Each house is five numbers: rooms, floors, age, distance, noise; its price is their sum.
    houses = numpy.random.default_rng(seed=7).random((500, 5))
    prices = houses @ numpy.array([5.0, 2.0, -1.0, -3.0, -0.5]) + 10.0
    known, unseen, known_prices, unseen_prices = train_test_split(houses, prices, random_state=7)

    with mlflow.start_run():
        mlflow.log_param("tree_depth", depth)
        tree = DecisionTreeRegressor(max_depth=depth, random_state=7).fit(known, known_prices)
        mlflow.log_metric("r2", r2_score(unseen_prices, tree.predict(unseen)))
        mlflow.sklearn.log_model(
            tree,
            name="model",
            signature=infer_signature(known, known_prices),
            registered_model_name="decision-tree",
            # MLflow's default format, skops, does not take trees.
            serialization_format="cloudpickle",
        )


if __name__ == "__main__":
    main()
