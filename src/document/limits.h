// Limits of every stored document; the same on every server, so that a move never meets a document that it cannot take.
#pragma once

#include <cstddef>

namespace terrane::document {

// The whole BSON document, its length prefix included.
inline constexpr size_t kMaxDocumentBytes = 16 * 1024 * 1024;

// Levels of documents and arrays in one another; the document itself is level 1.
inline constexpr int kMaxNesting = 100;

}  // namespace terrane::document
