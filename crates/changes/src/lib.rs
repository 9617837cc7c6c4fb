//! What an update of a stack would do. Pure: same input, same answer.
