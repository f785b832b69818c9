// Package sdk
package sdk
