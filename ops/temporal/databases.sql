-- Run once by the PostgreSQL image, in the database `temporal` that it has made, when its volume is empty.
CREATE DATABASE temporal_visibility;
