// Rows of cells as aligned text. Pure.
#pragma once

#include <string>
#include <vector>

namespace terrane::tools {

struct Column {
  bool right = false;  // numbers stand at the right of theirs
  size_t least = 0;    // characters
};

// One line for each row, two spaces between cells, none at the end. Columns are as wide as their widest cell; a row may
// have fewer cells than there are columns.
std::vector<std::string> Table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

}  // namespace terrane::tools
