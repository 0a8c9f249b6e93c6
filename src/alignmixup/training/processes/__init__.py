"""What several processes of one training share: who stops when, who reads which images, whose errors are said."""
