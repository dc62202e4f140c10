#pragma once
#include "CShimsSpawn.h"
