// Package generator is a source of made-up rows: for load, for trying a pipeline
// out, and for tests that need a source which repeats itself exactly. Row n of a
// seed is always the same, so a position is a number.
package generator
