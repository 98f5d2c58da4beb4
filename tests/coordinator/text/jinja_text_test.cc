#include "coordinator/text/jinja_text.h"

#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

TEST(CanonicalJinjaTest, KeepsWhatMatters) {
  EXPECT_EQ(CanonicalJinja("{{ 'a b' }}"), CanonicalJinja("{{\"a b\"}}"));
  EXPECT_EQ(CanonicalJinja("{{ 'a\\nb' }}"), CanonicalJinja("{{ 'a\nb' }}"));
  EXPECT_NE(CanonicalJinja("{{ 'a b' }}"), CanonicalJinja("{{ 'ab' }}"));
  EXPECT_NE(CanonicalJinja("{{ 'a' }}"), CanonicalJinja("{{ a }}"));
  EXPECT_NE(CanonicalJinja("{{ 'a\"+\"b' }}"),
            CanonicalJinja("{{ 'a' + 'b' }}"));
  EXPECT_NE(CanonicalJinja("{{ x }} {{ y }}"), CanonicalJinja("{{x}}{{y}}"));
  EXPECT_NE(CanonicalJinja("{{ x }}\n{{ y }}"), CanonicalJinja("{{x}}{{y}}"));
  EXPECT_EQ(CanonicalJinja("{% if x %}\n  {% endif %}"),
            CanonicalJinja("{% if x %}{% endif %}"));
}

}  // namespace
}  // namespace caravan::coordinator
