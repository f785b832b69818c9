// Package integration holds the tests that need more than one package to mean
// anything: real clients against the real binary, processes that are killed, whole
// scenarios whose history is checked afterwards.
//
// What a test needs from outside (kcat, a JVM, root) is asked for with Need: where
// it is missing the test skips and says so; with SPLASHDAM_TEST_REQUIRE=all, or a
// list of names, the skip is a failure. A loop device, whose power can be cut, is
// required by its own name only (power). Tests that take minutes run with
// SPLASHDAM_TEST_LONG=1, and as many rounds with a database, kills and power losses as
// SPLASHDAM_TEST_ROUNDS says.
package integration
