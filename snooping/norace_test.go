//go:build !race

package snooping

const raceDetector = false
