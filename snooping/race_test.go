//go:build race

package snooping

const raceDetector = true
