// grafana-schema FILE: whether a dashboard is what Grafana's own schema says: no field that it does not know, none of another
// type, none missing that must be there, down into each panel's options and each query. Says how many panels there are.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	if !json.Valid(text) {
		fail(fmt.Errorf("it is no JSON"))
	}
	var board dashboard.Dashboard
	check(board.UnmarshalJSONStrict(text))
	check(board.Validate())
	fmt.Println(len(board.Panels))
}

// check: an empty list of errors is none, though the module returns it as an error that is there.
func check(err error) {
	var all cog.BuildErrors
	if errors.As(err, &all) && len(all) == 0 {
		return
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
