# The image of every Airflow service and of the sandbox: Airflow's own image with exactly what requirements.txt pins.
FROM apache/airflow:3.3.2-python3.12

# The pins of Airflow itself are in requirements.txt too, so nothing here can move it to another version.
COPY --chown=airflow:0 requirements.txt /opt/airflow/requirements.txt
RUN pip install --no-cache-dir -r /opt/airflow/requirements.txt

COPY --chown=airflow:0 include /opt/airflow/include
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 dags /opt/airflow/dags
# The Catalog page shows them.
COPY --chown=airflow:0 docs/runbooks /opt/airflow/docs/runbooks

# A named volume takes the owner of the folder that it is mounted on: here the UI's passwords are made at first start.
RUN mkdir -p /opt/airflow/auth

# The domain's packages lie in include; plugins adds itself.
ENV PYTHONPATH=/opt/airflow/include
USER airflow
