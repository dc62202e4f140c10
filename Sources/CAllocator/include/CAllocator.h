#pragma once
// Linking this target replaces malloc by jemalloc. There is nothing to call.
