"""Trains the tutorial's model: who of the CDNOW customers comes back within 39 weeks.

python3 train.py ORDERS.parquet comeback.onnx
"""

import datetime
import sys

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

AS_OF = datetime.date(1997, 9, 30)
FEATURES = ["recency_days", "frequency", "monetary_usd", "tenure_days"]

orders = pq.read_table(sys.argv[1])
before = orders.filter(pc.field("ordered_at") <= AS_OF)
after = orders.filter(pc.field("ordered_at") > AS_OF)

# One row per customer, as features.sql will give it.
customers = before.group_by("customer_id").aggregate(
    [("ordered_at", "min"), ("ordered_at", "max"), ("ordered_at", "count"), ("amount_usd", "sum")]
)
days_ago = lambda name: [(AS_OF - day).days for day in customers[name].to_pylist()]
features = np.column_stack(
    [
        days_ago("ordered_at_max"),
        customers["ordered_at_count"].to_numpy(),
        customers["amount_usd_sum"].to_numpy(),
        days_ago("ordered_at_min"),
    ]
).astype(np.float32)
came_back = np.isin(customers["customer_id"].to_numpy(), after["customer_id"].to_numpy())
target = np.where(came_back, "comes_back", "gone")

x_train, x_test, y_train, y_test = train_test_split(features, target, test_size=0.2, random_state=1)
model = GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=1)
model.fit(x_train, y_train)
probability = model.predict_proba(x_test)[:, list(model.classes_).index("comes_back")]
print(f"ROC AUC {roc_auc_score(y_test == 'comes_back', probability):.3f} on {len(y_test)} customers")

exported = to_onnx(model, x_train[:1], target_opset={"": 18, "ai.onnx.ml": 3})
# With the names in the file, the order of the query's columns is free.
names = exported.metadata_props.add()
names.key, names.value = "feature_names", ",".join(FEATURES)
with open(sys.argv[2], "wb") as file:
    file.write(exported.SerializeToString())
