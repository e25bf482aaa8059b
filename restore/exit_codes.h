#pragma once
// The table is one for all programs.

#include "common/base/exit_codes.h"  // IWYU pragma: export
