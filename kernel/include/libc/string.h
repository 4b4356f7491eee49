#include <lichen/string.h>
