-- _policies: after which ends of a parent a dependent runs, and what is said of one that does not.
local RUNS = {
  success = {success = true}, failure = {failure = true}, cancelled = {cancelled = true},
  any = {success = true, failure = true, cancelled = true},
  early = {success = true, failure = true, cancelled = true},
}
local SAID = {success = 'succeeded', failure = 'failed', cancelled = 'was cancelled'}
local ERROR = {success = 'NotNeeded', failure = 'ParentFailed', cancelled = 'ParentCancelled'}
