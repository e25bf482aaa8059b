#pragma once
// toml++, as both programs with a configuration file include it; see also toml_text.h.

// toml++ 3.3 asserts of "[ =" that a key begins there, and finds out that none does only then: a
// debug build would end at such a file, and clang may take the assertion for granted in the others.
#include <toml++/impl/preprocessor.h>
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT_ASSUME(expression) static_assert(true)

#include <toml++/toml.h>
