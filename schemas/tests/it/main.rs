//! What the generated code promises, held against the released files and against apache-avro.

mod evolution;
